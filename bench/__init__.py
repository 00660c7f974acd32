"""Batched vector products and linear regression by gradient steps."""
