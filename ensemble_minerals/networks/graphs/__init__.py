"""An ensemble or a student as one torch network: photos in, calibrated probabilities out."""
