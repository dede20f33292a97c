"""ONNX graphs, bundles and files, good ones and hostile ones."""
