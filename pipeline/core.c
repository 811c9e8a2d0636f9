/* The compiled core: what takes most of a pair's time, and is the same bits in numpy where there is no compiler.

   normal: standard normal numbers, from the words of SFC64 (Doty-Humphrey 2014) by the method of Box and Muller 1958;
           pipeline/normals.py says what they are.
   cut:    a part of a picture, wherever its samples lie, as three planes of 8 or 16 bits, or of float32 in [0, 1].

   There is nothing here but additions, multiplications, divisions and square roots, which IEEE 754 rounds in one way:
   no logarithm or sine of a library, and no fused multiply-add (-ffp-contract=off). Loops are written for the compiler
   to turn into vectors, and made for several kinds of processor. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 128 /* pairs of words, and of numbers, at a time */
#define LANES 4
#define LINE 64 /* bytes of a cache line */
#define AHEAD 2048 /* bytes that are asked for before they are needed */
#define WARM_UP 12 /* words of each lane that are thrown away, until the key has reached every bit */

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define EVERY_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EVERY_PROCESSOR
#endif

typedef struct {
    uint64_t a[LANES], b[LANES], c[LANES], count;
} Sfc64; /* as many generators, each of which waits for its own last word alone */

EVERY_PROCESSOR static void next_words(Sfc64 *state, uint64_t *words, int rounds)
{
    Sfc64 s = *state; /* what is no pointer's may stay in registers */
    for (int i = 0; i < rounds; i++, s.count++)
        for (int k = 0; k < LANES; k++) {
            uint64_t word = s.a[k] + s.b[k] + s.count;
            s.a[k] = s.b[k] ^ (s.b[k] >> 11);
            s.b[k] = s.c[k] + (s.c[k] << 3);
            s.c[k] = ((s.c[k] << 24) | (s.c[k] >> 40)) + word;
            words[i * LANES + k] = word;
        }
    *state = s;
}

static inline float as_float(int32_t bits)
{
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static inline int32_t as_bits(float number)
{
    int32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

/* -2 ln((w / 2 + 0.5) / 2^31), to 2 units in the last place: the polynomial of Cephes' logf (Moshier 1992). */
static inline float minus_two_log(uint32_t word)
{
    int32_t bits = as_bits((float)(int32_t)(word >> 1) + 0.5f);
    int32_t exponent = (bits - 0x3f3504f3) >> 23; /* of the mantissa within [sqrt(1/2), sqrt(2)) */
    float f = as_float(bits - exponent * 0x800000) - 1.0f, e = (float)(exponent - 31), z = f * f;
    float p = 0x1.204376p-4f * f + -0x1.d7a37p-4f;
    p = p * f + 0x1.de4a34p-4f;
    p = p * f + -0x1.fcba9ep-4f;
    p = p * f + 0x1.23d37ep-3f;
    p = p * f + -0x1.555cap-3f;
    p = p * f + 0x1.999d58p-3f;
    p = p * f + -0x1.fffff8p-3f;
    p = p * f + 0x1.555554p-2f;
    float low = (p * f) * z + e * -0x1.bd0106p-13f;
    return ((low - 0.5f * z) + f + e * 0x1.63p-1f) * -2.0f;
}

/* As many words for lengths and for angles to as many pairs of numbers. */
EVERY_PROCESSOR static void box_muller(const uint32_t *lengths, const uint32_t *angles, float *first, float *second)
{
    for (int i = 0; i < BLOCK; i++) {
        float length = sqrtf(minus_two_log(lengths[i]));
        uint32_t angle = angles[i];
        /* An eighth of a turn to either side; the two bits left mirror it at the diagonal, and at the origin. */
        float turn = (float)((int32_t)(angle << 2) >> 2) * 0x1.921fb6p-30f, z = turn * turn;
        float sine = turn + (turn * z) * ((-0x1.9943f2p-13f * z + 0x1.11073cp-7f) * z + -0x1.555546p-3f);
        float cosine = (z * z) * ((0x1.99eb9cp-16f * z + -0x1.6c0c34p-10f) * z + 0x1.55554ap-5f) + (1.0f - 0.5f * z);
        int32_t mirror = -(int32_t)((angle >> 30) & 1), sign = (int32_t)(angle & 0x80000000u);
        int32_t swap = (as_bits(cosine) ^ as_bits(sine)) & mirror;
        first[i] = length * as_float((as_bits(cosine) ^ swap) ^ sign);
        second[i] = length * as_float((as_bits(sine) ^ swap) ^ sign);
    }
}

EVERY_PROCESSOR static void scaled(float *out, const float *numbers, const float *around, float scale, Py_ssize_t count)
{
    if (around)
        for (Py_ssize_t i = 0; i < count; i++)
            out[i] = numbers[i] * scale + around[i];
    else
        for (Py_ssize_t i = 0; i < count; i++)
            out[i] = numbers[i] * scale;
}

static void fill(uint64_t a, uint64_t b, uint64_t c, float *out, const float *around, float scale, Py_ssize_t count)
{
    union {
        uint64_t of_64[BLOCK];
        uint32_t of_32[2 * BLOCK];
    } words;
    float numbers[2 * BLOCK];
    Sfc64 s = {.count = 1};
    for (int k = 0; k < LANES; k++)
        s.a[k] = a, s.b[k] = b, s.c[k] = c + k;
    next_words(&s, words.of_64, WARM_UP);
    for (Py_ssize_t done = 0; done < count; done += 2 * BLOCK) {
        Py_ssize_t rest = count - done < 2 * BLOCK ? count - done : 2 * BLOCK;
        next_words(&s, words.of_64, BLOCK / LANES);
        box_muller(words.of_32, words.of_32 + BLOCK, numbers, numbers + BLOCK);
        scaled(out + done, numbers, around ? around + done : NULL, scale, rest);
    }
}

static PyObject *none_or(int fits, const char *wanted)
{
    if (fits)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, wanted);
    return NULL;
}

static PyObject *normal(PyObject *module, PyObject *arguments)
{
    Py_buffer out, around = {0};
    unsigned long long a, b, c;
    float scale;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "w*z*fKKK", &out, &around, &scale, &a, &b, &c))
        return NULL;
    int fits = out.len % (Py_ssize_t)sizeof(float) == 0 && (!around.buf || around.len == out.len);
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        fill(a, b, c, out.buf, around.buf, scale, out.len / (Py_ssize_t)sizeof(float));
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&out);
    PyBuffer_Release(&around);
    return none_or(fits, "wanted float32 numbers, and as many around which to draw them");
}

/* A row of samples `step` apart: planes have 1, pixels of a decoder 3, and mirrored ones -1 and -3. */
#define ROW(name, from, to, made_of_sample)                                                                            \
    EVERY_PROCESSOR static void name(void *there, const void *here, Py_ssize_t step, Py_ssize_t count)                \
    {                                                                                                                  \
        to *out = there;                                                                                               \
        const from *in = here;                                                                                         \
        if (step == 1)                                                                                                 \
            for (Py_ssize_t x = 0; x < count; x++)                                                                     \
                out[x] = made_of_sample(in[x]);                                                                        \
        else if (step == -1)                                                                                           \
            for (Py_ssize_t x = 0; x < count; x++)                                                                     \
                out[x] = made_of_sample(in[-x]);                                                                       \
        else                                                                                                           \
            for (Py_ssize_t x = 0; x < count; x++)                                                                     \
                out[x] = made_of_sample(in[x * step]);                                                                 \
    }
#define SAME(sample) (sample)
#define WIDER(sample) (uint16_t)((sample)*257)
#define OVER_255(sample) ((float)(sample) / 255.0f)
#define OVER_65535(sample) ((float)(sample) / 65535.0f)

ROW(bytes_of_bytes, uint8_t, uint8_t, SAME)
ROW(words_of_bytes, uint8_t, uint16_t, WIDER)
ROW(words_of_words, uint16_t, uint16_t, SAME)
ROW(floats_of_bytes, uint8_t, float, OVER_255)
ROW(floats_of_words, uint16_t, float, OVER_65535)

typedef void (*Row)(void *, const void *, Py_ssize_t, Py_ssize_t);

static Row row_for(const char *from, const char *to)
{
    if (*from == 'B')
        return *to == 'B' ? bytes_of_bytes : *to == 'H' ? words_of_bytes : *to == 'f' ? floats_of_bytes : NULL;
    if (*from == 'H')
        return *to == 'H' ? words_of_words : *to == 'f' ? floats_of_words : NULL;
    return NULL;
}

static inline const char *row_at(const Py_buffer *in, Py_ssize_t number)
{
    Py_ssize_t channel = in->shape[0] == 3 ? number / in->shape[1] : 0;
    return (const char *)in->buf + channel * in->strides[0] + number % in->shape[1] * in->strides[1];
}

/* (1 or 3, H, W) samples to three planes. A row is asked for well before its turn: those of a crop out of a mapped file
   are pages apart, which no processor foresees, and to wait for each in turn takes longer than all the rest. */
static void planes(Row row, const Py_buffer *out, const Py_buffer *in)
{
    Py_ssize_t width = in->shape[2], step = in->strides[2], rows = 3 * in->shape[1];
    Py_ssize_t before = step < 0 ? (width - 1) * step : 0, length = (width - 1) * Py_ABS(step) + in->itemsize;
    Py_ssize_t ahead = AHEAD / length + 1;
    for (Py_ssize_t turn = -ahead; turn < rows; turn++) {
        if (turn + ahead < rows)
            for (Py_ssize_t part = 0; part < length + LINE; part += LINE)
                __builtin_prefetch(row_at(in, turn + ahead) + before + part);
        if (turn >= 0)
            row((char *)out->buf + turn * width * out->itemsize, row_at(in, turn), step / in->itemsize, width);
    }
}

static int is_picture(const Py_buffer *in)
{
    return in->ndim == 3 && (in->shape[0] == 1 || in->shape[0] == 3) && in->strides[2] % in->itemsize == 0;
}

static PyObject *cut(PyObject *module, PyObject *arguments)
{
    PyObject *there, *pixels;
    Py_buffer out, in;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO", &there, &pixels))
        return NULL;
    if (PyObject_GetBuffer(there, &out, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE | PyBUF_FORMAT))
        return NULL;
    if (PyObject_GetBuffer(pixels, &in, PyBUF_STRIDED_RO | PyBUF_FORMAT)) {
        PyBuffer_Release(&out);
        return NULL;
    }
    Row row = row_for(in.format, out.format);
    int fits = row && is_picture(&in) && out.len == 3 * in.shape[1] * in.shape[2] * out.itemsize;
    if (fits && out.len)
        planes(row, &out, &in);
    PyBuffer_Release(&out);
    PyBuffer_Release(&in);
    return none_or(fits, "wanted samples (1 or 3, H, W) of 8 or 16 bits, and (3, H, W) to put them in");
}

static PyMethodDef methods[] = {
    {"normal", normal, METH_VARARGS, "normal(out, around or None, scale, a, b, c): out = scale * numbers + around"},
    {"cut", cut, METH_VARARGS, "cut(out, pixels): out = pixels, over their white where out is float32"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_core", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__core(void) { return PyModule_Create(&definition); }
