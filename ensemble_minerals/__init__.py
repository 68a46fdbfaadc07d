"""Image ensembles for mineral photos: honest, calibrated, explained."""
