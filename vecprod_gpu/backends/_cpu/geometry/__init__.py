"""What is computed of three-vectors: angles, areas, volumes and normals."""
