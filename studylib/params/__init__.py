"""What may be asked of a study: hardware sets, efforts, options, and the validated parameters of one study.

Everything is frozen and checked when it is read; creating a parameter object does nothing else.
"""

from studylib.params.efforts import EFFORTS as EFFORTS
from studylib.params.efforts import Effort as Effort
from studylib.params.known import check_names as check_names
from studylib.params.paths import outputs_root as outputs_root
from studylib.params.paths import root as root
from studylib.params.sets import HardwareProfile as HardwareProfile
from studylib.params.sets import HostMatch as HostMatch
from studylib.params.sets import StudyParams as StudyParams
from studylib.params.sets import hardware_sets as hardware_sets
from studylib.params.sets import resolve as resolve
from studylib.params.study_options import ALL as ALL
from studylib.params.study_options import RANDOM_SQNR_DB as RANDOM_SQNR_DB
from studylib.params.study_options import SEED as SEED
from studylib.params.study_options import Choice as Choice
from studylib.params.study_options import options as options
from studylib.params.yaml_files import Section as Section
