"""Pure losses: tensors to one value an image. They never log, reduce over a batch of images on their own, or step."""
