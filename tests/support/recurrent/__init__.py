"""Recurrent nets, and their graphs held against PyTorch at several numbers of rows and steps."""
