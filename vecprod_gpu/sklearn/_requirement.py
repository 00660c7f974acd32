"""scikit-learn of a version that the estimators stand on; imported before all else."""

LEAST = 1, 9

try:
    from sklearn import __version__ as version
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'vecprod_gpu.sklearn needs scikit-learn, which is missing: pip install "vecprod-gpu[sklearn]"',
        name=error.name,
    ) from error

if tuple(int(part) for part in version.split(".")[:2]) < LEAST:
    raise ImportError(
        f"vecprod_gpu.sklearn needs scikit-learn {LEAST[0]}.{LEAST[1]} or later, and this is {version}: "
        'pip install --upgrade "vecprod-gpu[sklearn]"'
    )
