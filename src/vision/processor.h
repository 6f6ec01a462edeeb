/* The front end for pictures: what transformers' image processors do, told by preprocessor_config.json. */
#ifndef TD_VISION_PROCESSOR_H
#define TD_VISION_PROCESSOR_H

#include "frontend/kind.h"

/* Features are pixels from the top left, row by row, [height * width, 3]. */
extern const td_frontend_kind td_frontend_picture;

/* Every class this front end stands for, by the stem of its name: X(stem). */
#define TD_PICTURE_PROCESSORS(X) X("ViT") X("DeiT") X("MobileNetV2") X("ConvNext") X("Blip") X("CLIP") X("Donut")

#endif
