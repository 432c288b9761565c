/* One thread per pixel; the grid may be larger than the task. */
#include "blend.h"
#include "crop.h"

#define COLUMN (int)(blockIdx.x * blockDim.x + threadIdx.x)
#define ROW (int)(blockIdx.y * blockDim.y + threadIdx.y)

extern "C" __global__ void crop_float32(CropTask task) { crop_pixel<float>(task, COLUMN, ROW); }
extern "C" __global__ void crop_float16(CropTask task) { crop_pixel<Half>(task, COLUMN, ROW); }
extern "C" __global__ void blend_float32(BlendTask task) { blend_pixel<float>(task, COLUMN, ROW); }
extern "C" __global__ void blend_float16(BlendTask task) { blend_pixel<Half>(task, COLUMN, ROW); }
