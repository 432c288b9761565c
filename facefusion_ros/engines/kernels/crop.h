/* NV12 to a planar crop: affine map, bilinear, normalised, in one pass. crop.py describes the fields. */
#pragma once
#include "pixel.h"

struct CropTask {
    const unsigned char *luma;
    const unsigned char *chroma;
    void *output;
    int luma_pitch, chroma_pitch;
    int frame_width, frame_height;
    int width, height;
    int border;
    int blue_first;
    float frame_from_crop[6];
    float gain[3];
    float offset[3];
    int black, luma_share, v_to_red, v_to_green, u_to_green, u_to_blue;
};

struct Colour {
    float red, green, blue;
};

/* The shifts below are of negative numbers too: arithmetic in CUDA and in every C++ compiler, by rule since C++20. */
PER_PIXEL Colour colour_at(const CropTask &task, int x, int y) {
    if (task.border >= 0 && (x < 0 || y < 0 || x >= task.frame_width || y >= task.frame_height)) {
        Colour outside = {(float)task.border, (float)task.border, (float)task.border};
        return outside;
    }
    x = within(x, 0, task.frame_width - 1);
    y = within(y, 0, task.frame_height - 1);
    int above_black = task.luma[(long long)y * task.luma_pitch + x] - task.black;
    const unsigned char *uv = task.chroma + (long long)(y >> 1) * task.chroma_pitch + (x & ~1);
    int u = uv[0] - 128, v = uv[1] - 128;
    int light = (above_black > 0 ? above_black : 0) * task.luma_share + (1 << 19);
    Colour colour = {
        (float)within((light + task.v_to_red * v) >> 20, 0, 255),
        (float)within((light + task.v_to_green * v + task.u_to_green * u) >> 20, 0, 255),
        (float)within((light + task.u_to_blue * u) >> 20, 0, 255),
    };
    return colour;
}

template <typename Number> PER_PIXEL void crop_pixel(const CropTask &task, int column, int row) {
    if (column >= task.width || row >= task.height) return;
    Place place = place_of(task.frame_from_crop, column, row, task.frame_width, task.frame_height);
    Colour p00 = colour_at(task, place.x, place.y), p01 = colour_at(task, place.x + 1, place.y);
    Colour p10 = colour_at(task, place.x, place.y + 1), p11 = colour_at(task, place.x + 1, place.y + 1);
    float red = bilinear(p00.red, p01.red, p10.red, p11.red, place);
    float green = bilinear(p00.green, p01.green, p10.green, p11.green, place);
    float blue = bilinear(p00.blue, p01.blue, p10.blue, p11.blue, place);
    long long plane = (long long)task.width * task.height;
    Number *at = (Number *)task.output + (long long)row * task.width + column;
    write_number(at, (task.blue_first ? blue : red) * task.gain[0] + task.offset[0]);
    write_number(at + plane, green * task.gain[1] + task.offset[1]);
    write_number(at + 2 * plane, (task.blue_first ? red : blue) * task.gain[2] + task.offset[2]);
}
