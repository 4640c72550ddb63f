"""Adaptive quantization: how sensitive each layer is, and the precision that each should have under a budget.

>>> from studylib.adaptive import Assignment, Budget, search, sensitivity
"""

from studylib.adaptive.assignment import Assignment as Assignment
from studylib.adaptive.budget import Budget as Budget
from studylib.adaptive.formats import FORMATS as FORMATS
from studylib.adaptive.layers import Calibrated as Calibrated
from studylib.adaptive.layers import Layer as Layer
from studylib.adaptive.search import SearchResult as SearchResult
from studylib.adaptive.search import search as search
from studylib.adaptive.sensitivity import sensitivity as sensitivity
from studylib.adaptive.task import SearchTask as SearchTask
