"""What torchvision and timm call the networks that have another name here; timm's old names say whose weights."""

from __future__ import annotations

from nas.space.networks import NETWORKS

_TABLE = """
mobilenet_v2          mobilenetv2_100
densenet121           tv_densenet121
resnet18              gluon_resnet18_v1b ssl_resnet18 swsl_resnet18
resnet34              tv_resnet34 gluon_resnet34_v1b
resnet50              tv_resnet50 gluon_resnet50_v1b ssl_resnet50 swsl_resnet50
resnet101             tv_resnet101 gluon_resnet101_v1b
resnet152             tv_resnet152 gluon_resnet152_v1b
resnext50_32x4d       tv_resnext50_32x4d gluon_resnext50_32x4d ssl_resnext50_32x4d swsl_resnext50_32x4d
resnext101_32x4d      gluon_resnext101_32x4d ssl_resnext101_32x4d swsl_resnext101_32x4d
resnext101_32x8d      ig_resnext101_32x8d ssl_resnext101_32x8d swsl_resnext101_32x8d
resnext101_64x4d      gluon_resnext101_64x4d
seresnext50_32x4d     gluon_seresnext50_32x4d
seresnext101_32x4d    gluon_seresnext101_32x4d
senet154              gluon_senet154
inception_v3          tf_inception_v3 adv_inception_v3 gluon_inception_v3
inception_resnet_v2   ens_adv_inception_resnet_v2
efficientnet_b2       efficientnet_b2a
efficientnet_b3       efficientnet_b3a
"""
OTHER_NAMES = {other: name for name, *others in map(str.split, _TABLE.split("\n")[1:-1]) for other in others}
"""Ours by theirs. All their other names are ours, or of networks that differ: timm's ``tf_efficientnet_b0`` pads
as TensorFlow does, its ``legacy_seresnet50`` pools as Caffe does."""

for _other, _name in OTHER_NAMES.items():
    NETWORKS.alias(_other, _name)
