"""Models in the form of Hugging Face's libraries: a folder, a name in the local cache, to a module with inputs and assets."""
