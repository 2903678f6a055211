"""The table of studies."""

from vaegan.errors import RequestError
from vaegan.studies.latent_size import LATENT_SIZE
from vaegan.studies.likelihood import LIKELIHOOD
from vaegan.studies.study import Study

STUDIES: dict[str, Study] = {study.name: study for study in (LATENT_SIZE, LIKELIHOOD)}


def find_study(name: str) -> Study:
    """The study of that name.

    Raises:
        RequestError: if there is none.
    """
    if name not in STUDIES:
        raise RequestError(f"There is no study {name!r}; the studies: {', '.join(STUDIES)}. See vaegan study --list.")
    return STUDIES[name]
