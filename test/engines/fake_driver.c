/* A driver's library without a GPU: device memory is the host's. It keeps the rules that matter to the caller: work of
 * a stream is done no sooner than somebody waits for it, a capture does nothing, everything wants a current context,
 * memory is limited. Kernels come from a library for the CPU, named by FAKE_KERNELS.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))
enum { OK = 0, INVALID = 1, NO_MEMORY = 2, NO_DEVICE = 100, NO_CONTEXT = 201, NOT_FOUND = 500, REGISTERED = 712, UNREGISTERED = 713, UNSUPPORTED = 801, CAPTURING = 906 };
#define NEED_CONTEXT if (!depth) return NO_CONTEXT
#define MOST 4096

typedef struct { int kind; void *to; const void *from; size_t size; int value; char structure[512]; } Work;
typedef struct { Work *work; int count; int capturing; } Queue;

static __thread int depth;
static int streams, events, graphs, pieces, retained;
static size_t used, limit = 64 << 20;

static int is(const char *name, const char *value) { const char *set = getenv(name); return set && !strcmp(set, value); }

API int cuInit(unsigned flags) { return flags ? INVALID : is("FAKE_DRIVER", "none") ? NO_DEVICE : OK; }
API int cuDriverGetVersion(int *version) { *version = 13000; return OK; }
API int cuDeviceGetCount(int *count) { *count = is("FAKE_DRIVER", "empty") ? 0 : 1; return OK; }
API int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal ? 101 : OK; }
API int cuDeviceGetName(char *name, int size, int device) { (void)device; strncpy(name, "Fake Orin", size); return OK; }
API int cuDeviceTotalMem_v2(size_t *size, int device) { (void)device; *size = limit; return OK; }
API int cuDeviceComputeCapability(int *major, int *minor, int device) { (void)device; *major = 8; *minor = 7; return OK; }
API int cuDeviceGetAttribute(int *value, int what, int device) {
    (void)device;
    int maps = !is("FAKE_REGISTER", "none"), guards = maps && !is("FAKE_REGISTER", "plain");
    if (what == 113 && is("FAKE_REGISTER", "plain")) return INVALID; /* a driver of before CUDA 11.1 */
    *value = what == 75 ? 8 : what == 76 ? 7 : what == 16 ? 16 : what == 18 ? 1 : what == 91 || what == 99 ? maps : what == 113 ? guards : 0;
    return OK;
}
API int cuGetErrorName(int code, const char **text) {
    *text = code == REGISTERED ? "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED" : code == NO_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : code == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_INVALID_VALUE";
    return OK;
}
API int cuGetErrorString(int code, const char **text) {
    *text = code == NO_MEMORY ? "out of memory" : code == NO_DEVICE ? "no CUDA-capable device is detected" : "invalid argument";
    return OK;
}

API int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; ++retained; *context = &depth; return OK; }
API int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return retained-- > 0 ? OK : INVALID; }
API int cuCtxPushCurrent_v2(void *context) { (void)context; ++depth; return OK; }
API int cuCtxPopCurrent_v2(void **context) { if (context) *context = &depth; return depth ? (--depth, OK) : NO_CONTEXT; }
API int cuCtxGetCurrent(void **context) { *context = depth ? &depth : 0; return OK; }
API int cuCtxSetCurrent(void *context) { depth = context != 0; return OK; }
API int cuCtxGetDevice(int *device) { NEED_CONTEXT; *device = 0; return OK; }
API int cuCtxGetApiVersion(void *context, unsigned *version) { (void)context; *version = 3020; return OK; }
API int cuCtxDetach(void *context) { (void)context; return OK; }
API int cuCtxSynchronize(void) { return OK; }

typedef struct { size_t size; char pad[248]; } Head;
API int cuMemAlloc_v2(uint64_t *address, size_t size) {
    NEED_CONTEXT;
    if (!size) return INVALID;
    if (used + size > limit) return NO_MEMORY;
    Head *head = aligned_alloc(256, sizeof(Head) + (size + 255) / 256 * 256);
    head->size = size;
    memset(head + 1, 0xCD, size);
    used += size; ++pieces;
    *address = (uint64_t)(head + 1);
    return OK;
}
API int cuMemFree_v2(uint64_t address) {
    NEED_CONTEXT;
    Head *head = (Head *)address - 1;
    used -= head->size; --pieces;
    free(head);
    return OK;
}
API int cuMemGetInfo_v2(size_t *left, size_t *all) { NEED_CONTEXT; *left = limit - used; *all = limit; return OK; }
API int cuMemHostAlloc(void **address, size_t size, unsigned flags) {
    NEED_CONTEXT;
    (void)flags; ++pieces;
    *address = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
    return OK;
}
API int cuMemFreeHost(void *address) { NEED_CONTEXT; --pieces; free(address); return OK; }
API int cuMemHostGetDevicePointer_v2(uint64_t *device, void *host, unsigned flags) {
    NEED_CONTEXT;
    if (flags || is("FAKE_REGISTER", "unseen")) return INVALID;
    *device = (uint64_t)host;
    return OK;
}

/* Registered memory: what is registered twice, or not by its first address, is refused as by the driver. */
static struct { char *start; size_t size; unsigned flags; } registered[64];
static int registrations;
API int cuMemHostRegister_v2(void *address, size_t size, unsigned flags) {
    NEED_CONTEXT;
    if (is("FAKE_REGISTER", "none") || (flags & 8 && is("FAKE_REGISTER", "plain"))) return UNSUPPORTED;
    if (!size || !(flags & 2) || flags > 15 || registrations == 64) return INVALID;
    for (int i = 0; i < registrations; ++i)
        if ((char *)address < registered[i].start + registered[i].size && registered[i].start < (char *)address + size) return REGISTERED;
    registered[registrations].start = address;
    registered[registrations].size = size;
    registered[registrations++].flags = flags;
    ++pieces;
    return OK;
}
API int cuMemHostUnregister(void *address) {
    NEED_CONTEXT;
    for (int i = 0; i < registrations; ++i)
        if (registered[i].start == address) {
            registered[i] = registered[--registrations];
            --pieces;
            return OK;
        }
    return UNREGISTERED;
}
API int fake_registered(void) { return registrations; }
API unsigned fake_flags(void *address) {
    for (int i = 0; i < registrations; ++i)
        if (registered[i].start == address) return registered[i].flags;
    return 0;
}

static Queue *new_queue(void) { Queue *queue = calloc(1, sizeof *queue); queue->work = calloc(MOST, sizeof(Work)); return queue; }
static void drop_queue(Queue *queue) { free(queue->work); free(queue); }
static int put(Queue *queue, Work work) {
    if (!queue || queue->count == MOST) return INVALID;
    queue->work[queue->count++] = work;
    return OK;
}
static void drain(Queue *queue) {
    for (int i = 0; i < queue->count; ++i) {
        Work *work = queue->work + i;
        if (work->kind == 0) memcpy(work->to, work->from, work->size);
        if (work->kind == 1) memset(work->to, work->value, work->size);
        if (work->kind == 2) ((void (*)(void *))work->to)(work->structure);
    }
    queue->count = 0;
}
API int cuStreamCreate(Queue **stream, unsigned flags) { NEED_CONTEXT; ++streams; *stream = new_queue(); return flags == 1 ? OK : INVALID; }
API int cuStreamDestroy_v2(Queue *stream) { drain(stream); drop_queue(stream); --streams; return OK; }
API int cuStreamSynchronize(Queue *stream) { NEED_CONTEXT; if (stream->capturing) return CAPTURING; drain(stream); return OK; }
API int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, Queue *stream) { NEED_CONTEXT; return put(stream, (Work){0, (void *)to, from, size, 0, ""}); }
API int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, Queue *stream) { NEED_CONTEXT; return put(stream, (Work){0, to, (void *)from, size, 0, ""}); }
API int cuMemsetD8Async(uint64_t to, unsigned char value, size_t size, Queue *stream) { NEED_CONTEXT; return put(stream, (Work){1, (void *)to, 0, size, value, ""}); }
API int cuEventCreate(void **event, unsigned flags) { NEED_CONTEXT; (void)flags; ++events; *event = malloc(1); return OK; }
API int cuEventDestroy_v2(void *event) { --events; free(event); return OK; }
API int cuEventRecord(void *event, Queue *stream) { NEED_CONTEXT; (void)event; (void)stream; return OK; }
API int cuEventSynchronize(void *event) { NEED_CONTEXT; (void)event; return OK; }
API int cuEventElapsedTime(float *ms, void *start, void *end) { (void)start; (void)end; *ms = 1.5f; return OK; }
API int cuEventElapsedTime_v2(float *ms, void *start, void *end) { return cuEventElapsedTime(ms, start, end); }

API int cuStreamBeginCapture_v2(Queue *stream, int mode) {
    NEED_CONTEXT;
    if (mode != 1 || stream->count) return INVALID;
    stream->capturing = 1;
    return OK;
}
API int cuStreamEndCapture(Queue *stream, Queue **graph) {
    *graph = new_queue();
    memcpy((*graph)->work, stream->work, MOST * sizeof(Work));
    (*graph)->count = stream->count;
    stream->count = stream->capturing = 0;
    ++graphs;
    return OK;
}
API int cuGraphInstantiateWithFlags(Queue **ready, Queue *graph, unsigned long long flags) {
    (void)flags; ++graphs;
    *ready = new_queue();
    memcpy((*ready)->work, graph->work, MOST * sizeof(Work));
    (*ready)->count = graph->count;
    return OK;
}
API int cuGraphDestroy(Queue *graph) { drop_queue(graph); --graphs; return OK; }
API int cuGraphExecDestroy(Queue *graph) { return cuGraphDestroy(graph); }
API int cuGraphLaunch(Queue *graph, Queue *stream) {
    NEED_CONTEXT;
    for (int i = 0; i < graph->count; ++i) put(stream, graph->work[i]);
    return OK;
}

API int cuModuleLoadData(void **module, const void *image) {
    NEED_CONTEXT;
    if (memcmp(image, "\177ELF", 4)) return INVALID;
    *module = dlopen(getenv("FAKE_KERNELS"), RTLD_NOW);
    return *module ? OK : INVALID;
}
API int cuModuleLoadDataEx(void **module, const void *image, unsigned count, void *options, void *values) {
    (void)count; (void)options; (void)values;
    return cuModuleLoadData(module, image);
}
API int cuModuleUnload(void *module) { NEED_CONTEXT; dlclose(module); return OK; }
API int cuModuleGetFunction(void **function, void *module, const char *name) {
    char full[64] = "run_";
    *function = dlsym(module, strncat(full, name, 50));
    return *function ? OK : NOT_FOUND;
}
API int cuFuncSetBlockShape(void *function, int x, int y, int z) { (void)function; return x * y * z > 0 ? OK : INVALID; }
static int size_of(void *function) {
    const char *sizes[] = {"size_of_crop", "size_of_blend"}, *names[] = {"run_crop_float32", "run_crop_float16", "run_blend_float32", "run_blend_float16"};
    void *library = dlopen(getenv("FAKE_KERNELS"), RTLD_NOW);
    for (int i = 0; i < 4; ++i)
        if (dlsym(library, names[i]) == function) return ((int (*)(void))dlsym(library, sizes[i / 2]))();
    return 0;
}
API int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, Queue *stream, void **arguments, void **extra) {
    NEED_CONTEXT;
    if (!gx || !gy || gz != 1 || bx * by * bz > 1024 || shared) return INVALID;
    Work work = {2, function, 0, 0, 0, ""};
    /* extra is CU_LAUNCH_PARAM_BUFFER_POINTER, the buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, its size. */
    memcpy(work.structure, arguments ? arguments[0] : extra[1], size_of(function));
    return put(stream, work);
}

/* What nobody gave back. */
API int fake_left(void) { return streams + events + graphs + pieces + retained; }

API int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *found) {
    static const char *newer[] = {"_v2", "", "WithFlags"};
    (void)version; (void)flags;
    char full[96];
    *function = 0;
    for (int i = 0; i < 3 && !*function; ++i) {
        strcpy(full, name);
        *function = dlsym(RTLD_DEFAULT, strcat(full, newer[i]));
        if (!*function) {
            void *self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
            *function = self ? dlsym(self, full) : 0;
        }
    }
    if (found) *found = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}
API int cuGetProcAddress(const char *name, void **function, int version, uint64_t flags) { return cuGetProcAddress_v2(name, function, version, flags, 0); }
