"""What to do with a trained model.

score.py              how well it predicts any text
export.py             take it elsewhere: plain tensors, configuration and vocabulary
public_code.py        bring one along that the paper's public code has trained
public_checkpoint.py  what is in its file
public_data.py        and the text that it was trained on
"""
