from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ldseg.networks.label_decoders import LABEL_DECODERS
from ldseg.presets import default_model


@pytest.mark.parametrize(("field", "value"), [("attention", (0,)), ("stem_kernel_size", 1)])
def test_a_setting_that_the_decoder_does_not_have_is_refused(field: str, value: Any) -> None:
    model = default_model(2, 1, 2)
    stages = replace(model.decoder.stages, **{field: value})
    changed = replace(model, decoder=replace(model.decoder, stages=stages))
    with pytest.raises(ValueError, match="label decoder resnet has no attention and a kernel size of 3"):
        LABEL_DECODERS.find("resnet")(changed, (24, 48))
