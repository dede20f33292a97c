"""--with-attention: the weights of chosen attention as further outputs of a graph."""
