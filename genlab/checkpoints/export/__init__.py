"""Export of weights: `timm_folder` (which timm loads), `programs` (torch, ONNX), `model_card`."""
