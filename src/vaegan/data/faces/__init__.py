"""Comic faces drawn by the package: any number, any size, each with the factors it was drawn from."""

from vaegan.data.faces.drawing import draw_faces, face_factors
from vaegan.data.faces.factors import FACTORS

__all__ = ["FACTORS", "draw_faces", "face_factors"]
