"""Small ONNX graphs as text, and the networks that TensorRT-RTX parses of them."""

from __future__ import annotations

from pathlib import Path

from attn_runtime.onnx_file import OnnxGraph, read_graph
from attn_runtime.trt import collector_paused, library
from attn_runtime.trt.builder.callbacks import make_logger
from attn_runtime.trt.builder.parser_check import Misread, check_network
from onnx import parser

IMAGE = "(float[2,16,8,8] x, float[16] s, float[16] b) => (float[2,16,8,8] y)"


def save_text(file: Path, sides: str, body: str, opset: int = 18, weights: str = "") -> Path:
    """A graph of `sides`, "(inputs) => (outputs)", and nodes, in the language of onnx.parser."""
    text = f'<ir_version: 10, opset_import: ["" : {opset}, "com.microsoft" : 1]> g {sides} {weights} {{ {body} }}'
    file.write_bytes(parser.parse_model(text).SerializeToString())
    return file


class Parsed:
    """A parsed network; what it points into lives as long."""

    def __init__(self, file: Path) -> None:
        self.trt = library.load("rtx").api
        self.log = make_logger(self.trt)
        with collector_paused():
            self.builder = self.trt.Builder(self.log)
            self.network = self.builder.create_network(0)
            self.parser = self.trt.OnnxParser(self.network, self.log)
            assert self.parser.parse_from_file(str(file)), self.log.errors
        self.graph: OnnxGraph = read_graph(file, "test")

    def misread(self) -> tuple[Misread, ...]:
        return check_network(self.trt, self.network, self.graph)
