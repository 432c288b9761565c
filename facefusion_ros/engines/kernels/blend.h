/* A planar patch into a region of a BGR frame: affine map, bilinear, colour map, mask, in one pass.
 * blend.py describes the fields.
 */
#pragma once
#include "pixel.h"

struct BlendTask {
    unsigned char *frame;
    const void *patch;
    const unsigned char *mask;
    int frame_pitch;
    int left, top, width, height;
    int patch_width, patch_height;
    int blue_first;
    float patch_from_frame[6];
    float gain[3];
    float offset[3];
};

PER_PIXEL float mask_at(const BlendTask &task, int x, int y) {
    bool outside = x < 0 || y < 0 || x >= task.patch_width || y >= task.patch_height;
    return outside ? 0.0f : (float)task.mask[(long long)y * task.patch_width + x];
}

template <typename Number> PER_PIXEL float number_at(const BlendTask &task, int plane, int x, int y) {
    x = within(x, 0, task.patch_width - 1);
    y = within(y, 0, task.patch_height - 1);
    return read_number((const Number *)task.patch + ((long long)plane * task.patch_height + y) * task.patch_width + x);
}

template <typename Number> PER_PIXEL void blend_pixel(const BlendTask &task, int column, int row) {
    if (column >= task.width || row >= task.height) return;
    int x = task.left + column, y = task.top + row;
    Place place = place_of(task.patch_from_frame, x, y, task.patch_width, task.patch_height);
    float mask = bilinear(mask_at(task, place.x, place.y), mask_at(task, place.x + 1, place.y),
                          mask_at(task, place.x, place.y + 1), mask_at(task, place.x + 1, place.y + 1), place);
    float alpha = mask / 255.0f;
    if (alpha == 0.0f) return;
    unsigned char *pixel = task.frame + (long long)y * task.frame_pitch + 3 * x;
    for (int plane = 0; plane < 3; ++plane) {
        float value = bilinear(number_at<Number>(task, plane, place.x, place.y),
                               number_at<Number>(task, plane, place.x + 1, place.y),
                               number_at<Number>(task, plane, place.x, place.y + 1),
                               number_at<Number>(task, plane, place.x + 1, place.y + 1), place);
        value = value * task.gain[plane] + task.offset[plane];
        value = fminf(fmaxf(value, 0.0f), 255.0f);
        unsigned char *channel = pixel + (task.blue_first ? plane : 2 - plane);
        *channel = (unsigned char)rintf(value * alpha + (float)*channel * (1.0f - alpha));
    }
}
