/* A part of an NV12 or BGR frame to a network's input: averaged to a grid, mapped, bilinear, normalised, in one pass.
 * crop.py describes the fields. */
#pragma once
#include "pixel.h"

struct CropTask {
    const unsigned char *pixels;
    const unsigned char *chroma;
    void *output;
    int pitch, chroma_pitch, pixel_step;
    int region_width, region_height;
    int grid_width, grid_height;
    int width, height;
    int left, top, right, bottom;
    int grey;
    int blue_first;
    int channel_step, column_step;
    float cell_width, cell_height;
    float grid_from_crop[6];
    float gain[3];
    float offset[3];
    int black, luma_share, v_to_red, v_to_green, u_to_green, u_to_blue;
};

struct Colour {
    float red, green, blue;
};

/* The shifts below are of negative numbers too: arithmetic in CUDA and in every C++ compiler, by rule since C++20. */
PER_PIXEL Colour colour_at(const CropTask &task, int x, int y) {
    const unsigned char *row = task.pixels + (long long)y * task.pitch;
    if (task.pixel_step) {
        row += (long long)x * task.pixel_step;
        Colour plain = {(float)row[2], (float)row[1], (float)row[0]};
        return plain;
    }
    int above_black = row[x] - task.black;
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

/* Mean of the pixels under a cell of the grid, each by how much of it lies there; the nearest cell beyond the grid. */
PER_PIXEL Colour cell_at(const CropTask &task, int column, int row) {
    float left = (float)within(column, 0, task.grid_width - 1) * task.cell_width;
    float top = (float)within(row, 0, task.grid_height - 1) * task.cell_height;
    float right = fminf(left + task.cell_width, (float)task.region_width);
    float bottom = fminf(top + task.cell_height, (float)task.region_height);
    Colour sum = {0.0f, 0.0f, 0.0f};
    for (int y = (int)top; (float)y < bottom; ++y) {
        Colour line = {0.0f, 0.0f, 0.0f};
        for (int x = (int)left; (float)x < right; ++x) {
            float share = fminf((float)x + 1.0f, right) - fmaxf((float)x, left);
            Colour colour = colour_at(task, x, y);
            line.red = line.red + colour.red * share;
            line.green = line.green + colour.green * share;
            line.blue = line.blue + colour.blue * share;
        }
        float share = fminf((float)y + 1.0f, bottom) - fmaxf((float)y, top);
        sum.red = sum.red + line.red * share;
        sum.green = sum.green + line.green * share;
        sum.blue = sum.blue + line.blue * share;
    }
    float area = (right - left) * (bottom - top);
    Colour mean = {sum.red / area, sum.green / area, sum.blue / area};
    return mean;
}

PER_PIXEL Colour seen_from(const CropTask &task, int column, int row) {
    if (column < task.left || row < task.top || column >= task.right || row >= task.bottom) {
        Colour beside = {(float)task.grey, (float)task.grey, (float)task.grey};
        return beside;
    }
    Place place = place_of(task.grid_from_crop, column, row, task.grid_width, task.grid_height);
    Colour p00 = cell_at(task, place.x, place.y), p01 = cell_at(task, place.x + 1, place.y);
    Colour p10 = cell_at(task, place.x, place.y + 1), p11 = cell_at(task, place.x + 1, place.y + 1);
    Colour colour = {
        bilinear(p00.red, p01.red, p10.red, p11.red, place),
        bilinear(p00.green, p01.green, p10.green, p11.green, place),
        bilinear(p00.blue, p01.blue, p10.blue, p11.blue, place),
    };
    return colour;
}

template <typename Number> PER_PIXEL void crop_pixel(const CropTask &task, int column, int row) {
    if (column >= task.width || row >= task.height) return;
    Colour seen = seen_from(task, column, row);
    float first = task.blue_first ? seen.blue : seen.red, last = task.blue_first ? seen.red : seen.blue;
    Number *at = (Number *)task.output + ((long long)row * task.width + column) * task.column_step;
    write_number(at, first * task.gain[0] + task.offset[0]);
    write_number(at + task.channel_step, seen.green * task.gain[1] + task.offset[1]);
    write_number(at + 2LL * task.channel_step, last * task.gain[2] + task.offset[2]);
}
