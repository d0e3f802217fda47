"""The folder being labelled: items, masks, drafts, rounds, the queue, export."""
