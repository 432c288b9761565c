/* What both kernels need of a pixel. Compiles as CUDA C++ and, for the tests, as plain C++.
 *
 * Compile without contraction into fused multiply-adds (nvcc -fmad=false, g++ -ffp-contract=off): the reference rounds
 * after every operation.
 */
#pragma once

#ifdef __CUDACC__
#include <cuda_fp16.h>
#define PER_PIXEL __device__ __forceinline__
typedef __half Half;
PER_PIXEL void write_number(float *at, float value) { *at = value; }
PER_PIXEL void write_number(Half *at, float value) { *at = __float2half_rn(value); }
PER_PIXEL float read_number(const float *at) { return *at; }
PER_PIXEL float read_number(const Half *at) { return __half2float(*at); }
#else
#include <math.h>
#define PER_PIXEL static inline
typedef _Float16 Half;
PER_PIXEL void write_number(float *at, float value) { *at = value; }
PER_PIXEL void write_number(Half *at, float value) { *at = (Half)value; }
PER_PIXEL float read_number(const float *at) { return *at; }
PER_PIXEL float read_number(const Half *at) { return (float)*at; }
#endif

/* Where a pixel (column, row) lies under a 2 x 3 map: the pixel up and left of it, and the way on from there, 0 to 1. */
struct Place {
    int x, y;
    float right, down;
};

PER_PIXEL Place place_of(const float map[6], int column, int row, int width, int height) {
    float u = (float)column, v = (float)row;
    float x = (map[0] * u + map[1] * v) + map[2];
    float y = (map[3] * u + map[4] * v) + map[5];
    /* Far outside is as good as just outside, and fits an int. A NaN counts as outside. */
    x = fminf(fmaxf(x, -2.0f), (float)width + 1.0f);
    y = fminf(fmaxf(y, -2.0f), (float)height + 1.0f);
    float left = floorf(x), top = floorf(y);
    Place place = {(int)left, (int)top, x - left, y - top};
    return place;
}

PER_PIXEL float between(float a, float b, float share) { return a + share * (b - a); }

PER_PIXEL float bilinear(float p00, float p01, float p10, float p11, Place place) {
    return between(between(p00, p01, place.right), between(p10, p11, place.right), place.down);
}

PER_PIXEL int within(int value, int least, int most) { return value < least ? least : value > most ? most : value; }
