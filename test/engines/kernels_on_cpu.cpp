// The kernels' own source as plain C++: a thread of the grid after the other.
struct Index {
    unsigned x, y, z;
};
static thread_local Index blockIdx, blockDim, threadIdx;
#define __global__
#include "kernels.cu"

template <typename Task> static void run(void (*kernel)(Task), Task task, unsigned block_x, unsigned block_y) {
    blockDim = {block_x, block_y, 1};
    for (unsigned by = 0; by < (task.height + block_y - 1) / block_y; ++by)
        for (unsigned bx = 0; bx < (task.width + block_x - 1) / block_x; ++bx)
            for (unsigned ty = 0; ty < block_y; ++ty)
                for (unsigned tx = 0; tx < block_x; ++tx) {
                    blockIdx = {bx, by, 0};
                    threadIdx = {tx, ty, 0};
                    kernel(task);
                }
}

extern "C" {
void run_crop_float32(const CropTask *task) { run(crop_float32, *task, 32, 8); }
void run_crop_float16(const CropTask *task) { run(crop_float16, *task, 32, 8); }
void run_blend_float32(const BlendTask *task) { run(blend_float32, *task, 32, 8); }
void run_blend_float16(const BlendTask *task) { run(blend_float16, *task, 32, 8); }
unsigned size_of_crop() { return sizeof(CropTask); }
unsigned size_of_blend() { return sizeof(BlendTask); }
}
