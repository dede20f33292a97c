"""ONNX Runtime: how its sessions are made, told once."""
