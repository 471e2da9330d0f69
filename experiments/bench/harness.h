// What all benchmark cases share: the clock, the CSV schema and a model with random prompts.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/families/model_config.h"
#include "rollout/engine.h"

namespace leash::bench {

// Command line of a run.
struct Options {
  std::string model = "smollm2";
  Quantize quantize = Quantize::none;  // of the policy's base
  bool fast = false;                   // decoding in 8 bits
  std::string baseline;                // what `quality` compares with, dense (default: the model)
  int64_t repeats = 3;
  int64_t micro_batch_tokens = 0;  // of training; 0: the recipes' default
  int64_t threads = 0;             // 0: all cores
  std::string program = "leash";   // what the CSV calls this binary
  std::string device = "cpu";
  DtypeChoice dtype = DtypeChoice::automatic;
  bool record_steps = true;  // of decoding on a GPU: as CUDA graphs
};

// One line of the CSV. Every case and every peer writes these columns.
struct Row {
  std::string name;  // of the case
  double value = 0;
  std::string unit;
};

// "case,program,version,threads,dtype,value,unit,peak_mb,machine,date"
std::string csv_header();
std::string csv_line(const Row& row, const Options& options);

// Seconds since the last lap, after all work on GPUs is done.
class Stopwatch {
 public:
  double lap();

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::shared_ptr<const Decoder> load_decoder(const Options& options);
// A trainable adapter on q, k, v, o with r=16 whose B is not zero, so that nothing is skipped.
Adapter bench_adapter(const Decoder& decoder);
// `count` sequences of `length` ids in [100, 40000), a function of the arguments alone.
std::vector<std::vector<int64_t>> random_ids(int64_t count, int64_t length, uint64_t seed = 0);
std::vector<Prompt> prompts_of(const std::vector<std::vector<int64_t>>& ids);
// Exactly `new_tokens` tokens each: nothing ends an answer.
GenerationConfig fixed_length(int64_t new_tokens);

double median(std::vector<double> values);

// Cases. Each returns the median over options.repeats after one run that is not counted.
std::vector<Row> run_decode(const Options& options, int64_t sequences, bool with_adapter);
std::vector<Row> run_score(const Options& options);
// An iteration of PPO. `work` is "shared", "shared-adapter-reward" (the reward model is an adapter
// on the policy's base), "shared-ragged" (prompts and answers of unequal lengths) or "separate-"
// and what of the critic trains.
std::vector<Row> run_ppo(const Options& options, const std::string& work);
std::vector<Row> run_update(const Options& options);
// Forward and backward of 8 answers of 64 tokens to a prompt of 200: whole texts against a prompt
// that stands once.
std::vector<Row> run_groups(const Options& options);
// texts: "8x256" or "ragged".
std::vector<Row> run_supervised(const Options& options, const std::string& texts,
                                bool checkpointing);
// Cases in which one size grows: "batch" (of sampling), "answer" (its length), "length" (of scored
// texts), "training" (length of a text) or "vocabulary" (log-probs and their backward pass).
std::vector<Row> run_growth(const Options& options, const std::string& what);
// What a quantised base costs in quality: exact KL(baseline || model) and the largest difference of
// a logit over the demo's held-out prompts, and the bytes of the weights.
std::vector<Row> run_quality(const Options& options);
// Two and eight adapters in one packed batch against one after another.
std::vector<Row> run_sharing(const Options& options);
std::vector<Row> run_machine(const Options& options);

// GFLOP/s of products [rows, in] x [in, out], best of a few: LibTorch's, and those that the models
// use.
double matmul_gflops(int64_t rows, int64_t in, int64_t out,
                     const at::TensorOptions& like = at::kFloat);
double product_gflops(int64_t rows, int64_t in, int64_t out,
                      const at::TensorOptions& like = at::kFloat);

}  // namespace leash::bench
