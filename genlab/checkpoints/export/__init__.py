"""Weights out: a folder that timm loads, torch and ONNX programs, model cards."""
