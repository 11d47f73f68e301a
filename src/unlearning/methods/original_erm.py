"""Reference: the original of ERM-KTP, trained with an entanglement-reduced mask (`models.erm`).

ERM-KTP unlearns this model and is compared with it: the mask has to be learned with it.

Touches: no data.
"""

from __future__ import annotations

from unlearning.methods.original import TOUCHES, Settings, images, unlearn

__all__ = ["TOUCHES", "Settings", "images", "unlearn"]
