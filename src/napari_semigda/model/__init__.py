"""The network: SemiGDA (arXiv 2604.23274) around a frozen autoencoder. It knows tensors only."""
