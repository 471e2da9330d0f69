// One block of threads per row. Every thread goes through a part of the row; the parts are put
// together in a fixed order, so that equal rows give equal bits.
#include "models/vocabulary/running_softmax.h"
#include "models/vocabulary/vocabulary_kernels.h"

namespace leash::cuda {
namespace {

constexpr int kThreads = 256;

// All threads' parts as one, for every thread.
template <class Part>
__device__ Part reduce(Part own) {
  // As bytes, since shared memory is not initialised.
  __shared__ __align__(alignof(Part)) unsigned char memory[sizeof(Part) * kThreads];
  auto* const parts = reinterpret_cast<Part*>(memory);
  parts[threadIdx.x] = own;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) parts[threadIdx.x].merge(parts[threadIdx.x + half]);
    __syncthreads();
  }
  return parts[0];
}

__device__ RunningSoftmax row_softmax(const float* row, int64_t vocab, float inverse_temperature) {
  RunningSoftmax own;
  for (int64_t v = threadIdx.x; v < vocab; v += kThreads) {
    own.add(static_cast<double>(row[v]) * inverse_temperature);
  }
  return reduce(own);
}

__global__ void score_rows(const float* logits, const int64_t* targets, int64_t vocab,
                           float inverse_temperature, float* logprobs, float* entropies,
                           double* log_normalizers) {
  const int64_t row = blockIdx.x;
  const float* const logit = logits + row * vocab;
  const RunningSoftmax softmax = row_softmax(logit, vocab, inverse_temperature);
  if (threadIdx.x != 0) return;
  const double log_z = softmax.log_normalizer();
  logprobs[row] =
      static_cast<float>(static_cast<double>(logit[targets[row]]) * inverse_temperature - log_z);
  entropies[row] = static_cast<float>(softmax.entropy());
  log_normalizers[row] = log_z;
}

__global__ void logprob_backward(float* logits, const int64_t* targets, int64_t vocab,
                                 float inverse_temperature, const double* log_normalizers,
                                 const float* gradient) {
  const int64_t row = blockIdx.x;
  float* const logit = logits + row * vocab;
  for (int64_t v = threadIdx.x; v < vocab; v += kThreads) {
    logit[v] = logprob_gradient(logit[v], inverse_temperature, log_normalizers[row],
                                v == targets[row], gradient[row]);
  }
}

__global__ void sample_rows(const float* logits, const double* uniforms, int64_t vocab,
                            float inverse_temperature, double* part_sums, int64_t* tokens,
                            double* logprobs, double* entropies) {
  const int64_t row = blockIdx.x;
  const float* const logit = logits + row * vocab;
  const RunningSoftmax softmax = row_softmax(logit, vocab, inverse_temperature);
  const int64_t parts = (vocab + kSampledPart - 1) / kSampledPart;
  double* const sums = part_sums + row * parts;
  const auto weight = [&](int64_t v) {
    return sampling_weight(logit[v], inverse_temperature, softmax.largest);
  };
  for (int64_t part = threadIdx.x; part < parts; part += kThreads) {
    const int64_t end = part * kSampledPart + kSampledPart;
    double sum = 0;
    for (int64_t v = part * kSampledPart; v < (end < vocab ? end : vocab); ++v) sum += weight(v);
    sums[part] = sum;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  if (!isfinite(softmax.sum) || !isfinite(softmax.largest)) {
    tokens[row] = -1;
    return;
  }
  double total = 0;
  for (int64_t part = 0; part < parts; ++part) total += sums[part];
  double before = 0;
  const double target = uniforms[row] * total;
  const int64_t part = index_at(
      target, parts, [&](int64_t i) { return sums[i]; }, before);
  const int64_t begin = part * kSampledPart;
  const int64_t count = vocab - begin < kSampledPart ? vocab - begin : kSampledPart;
  const int64_t token =
      begin + index_at(
                  target, count, [&](int64_t i) { return weight(begin + i); }, before);
  tokens[row] = token;
  logprobs[row] =
      static_cast<double>(logit[token]) * inverse_temperature - softmax.log_normalizer();
  entropies[row] = softmax.entropy();
}

__global__ void pick_largest(const float* logits, int64_t vocab, int64_t* tokens, double* logprobs,
                             double* entropies) {
  const int64_t row = blockIdx.x;
  const float* const logit = logits + row * vocab;
  LargestLogit own;
  for (int64_t v = threadIdx.x; v < vocab; v += kThreads) own.merge({logit[v], v});
  const LargestLogit largest = reduce(own);
  const RunningSoftmax softmax = row_softmax(logit, vocab, 1.0f);
  if (threadIdx.x != 0) return;
  const bool finite = isfinite(softmax.sum) && isfinite(softmax.largest);
  tokens[row] = finite ? largest.index : -1;
  logprobs[row] = static_cast<double>(largest.value) - softmax.log_normalizer();
  entropies[row] = softmax.entropy();
}

}  // namespace

void launch_score_rows(const float* logits, const int64_t* targets, int64_t rows, int64_t vocab,
                       float inverse_temperature, float* logprobs, float* entropies,
                       double* log_normalizers, void* stream) {
  if (rows == 0) return;
  score_rows<<<static_cast<unsigned>(rows), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      logits, targets, vocab, inverse_temperature, logprobs, entropies, log_normalizers);
}

void launch_logprob_backward(float* logits, const int64_t* targets, int64_t rows, int64_t vocab,
                             float inverse_temperature, const double* log_normalizers,
                             const float* gradient, void* stream) {
  if (rows == 0) return;
  logprob_backward<<<static_cast<unsigned>(rows), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      logits, targets, vocab, inverse_temperature, log_normalizers, gradient);
}

void launch_sample_rows(const float* logits, const double* uniforms, int64_t rows, int64_t vocab,
                        float inverse_temperature, double* part_sums, int64_t* tokens,
                        double* logprobs, double* entropies, void* stream) {
  if (rows == 0) return;
  sample_rows<<<static_cast<unsigned>(rows), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      logits, uniforms, vocab, inverse_temperature, part_sums, tokens, logprobs, entropies);
}

void launch_pick_largest(const float* logits, int64_t rows, int64_t vocab, int64_t* tokens,
                         double* logprobs, double* entropies, void* stream) {
  if (rows == 0) return;
  pick_largest<<<static_cast<unsigned>(rows), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      logits, vocab, tokens, logprobs, entropies);
}

}  // namespace leash::cuda
