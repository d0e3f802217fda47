"""The folder being labeled: items, masks, drafts, rounds, the queue, export."""
