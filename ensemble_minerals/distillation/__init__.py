"""Distillation: what a student learns from, and how students are trained."""
