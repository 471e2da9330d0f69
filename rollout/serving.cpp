#include "rollout/serving.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "models/errors.h"
#include "rollout/inputs.h"

namespace leash {
namespace {

const ServingConfig& checked(const ServingConfig& config, const Decoder& decoder) {
  TORCH_CHECK(config.max_batch >= 1 && config.max_waiting >= 1 && config.prefill_tokens >= 1 &&
                  config.context >= 1 && config.context <= decoder.config().max_positions,
              "slots, queue and context of a serving engine are at least 1, and its context is at "
              "most the model's");
  return config;
}

}  // namespace

ServingEngine::ServingEngine(std::shared_ptr<const Decoder> decoder,
                             std::optional<Tokenizer> tokenizer, const ServingConfig& config)
    : decoder_(std::move(decoder)),
      tokenizer_(std::move(tokenizer)),
      config_(checked(config, *decoder_)),
      batch_(*decoder_, tokenizer_ ? &*tokenizer_ : nullptr, config_, counts_) {
  // Asking also settles this thread's own number, which the worker's would otherwise become.
  const int threads = at::get_num_threads();
  thread_ = std::jthread([this, threads] { work(threads); });
}

ServingEngine::~ServingEngine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
}

void ServingEngine::check(const ServingRequest& request, size_t index) const {
  const std::string name = fmt::format("prompt {}", index);
  check_ids(request.ids, decoder_->config(), name);
  const int64_t length = std::ssize(request.ids);
  const int64_t most = config_.context - (request.generation.max_new_tokens > 0 ? 1 : 0);
  if (length > most) {
    throw FormatError(fmt::format(
        "{} has {} tokens, but the context that is served is {}{}: shorten it", name, length,
        config_.context, most < config_.context ? " with at least one of the answer" : ""));
  }
  TORCH_CHECK(tokenizer_ || request.generation.stop_texts.empty(), "stop texts need a tokenizer");
}

std::shared_ptr<ServingTicket> ServingEngine::submit(std::vector<ServingRequest> requests) {
  for (size_t i = 0; i < requests.size(); ++i) check(requests[i], i);
  const auto ticket = std::make_shared<ServingTicket>(requests.size());
  std::list<std::unique_ptr<ServingSequence>> sequences;
  const Tokenizer* tokenizer = tokenizer_ ? &*tokenizer_ : nullptr;
  for (size_t i = 0; i < requests.size(); ++i) {
    sequences.push_back(std::make_unique<ServingSequence>(std::move(requests[i]), i, ticket,
                                                          tokenizer, config_.context));
  }
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(waiting_, [](const auto& sequence) { return sequence->ticket->cancelled(); });
    if (std::ssize(waiting_) + std::ssize(sequences) > config_.max_waiting) return nullptr;
    waiting_.splice(waiting_.end(), sequences);
    counts_.waiting = std::ssize(waiting_);
  }
  wake_.notify_all();
  return ticket;
}

bool ServingEngine::next_step() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return stopping_ || !waiting_.empty() || !batch_.empty(); });
  if (stopping_) return false;
  batch_.admit(waiting_);
  counts_.waiting = std::ssize(waiting_);
  return true;
}

void ServingEngine::work(int threads) {
  const at::NoGradGuard no_grad;
  // Both copies of ATen's once-per-thread initialisation have to be over before
  // (rollout/lanes.cpp).
  (void)at::get_num_threads();
  at::internal::lazy_init_num_threads();
  at::set_num_threads(threads);
  while (next_step()) {
    try {
      batch_.step();
    } catch (...) {  // a lack of memory, a failed device: who comes next may have more luck
      batch_.fail(std::current_exception());
    }
  }
  const auto stopped = std::make_exception_ptr(std::runtime_error("the server was stopped"));
  batch_.fail(stopped);
  const std::lock_guard lock(mutex_);
  for (const auto& sequence : waiting_) sequence->ticket->fail(stopped);
}

}  // namespace leash
