// How this process asks the operating system for memory.
#pragma once

namespace leash {

// For the start of main(), before any tensor or thread: memory that tensors free stays with the
// process and is used again, in huge pages where the kernel gives them on request. Every pass makes
// and frees the same large tensors; giving each back would have the kernel clear its pages again
// (313,000 page faults in four epochs of PPO's update, and a tenth of its time:
// experiments/bench/README.md). Settings that the environment names (GLIBC_TUNABLES,
// THP_MEM_ALLOC_ENABLE) are left to it.
void keep_host_memory();

// Undoes it for freed memory, where ranks share a machine and blocks of weights come and go all the
// time: what is freed goes back.
void return_host_memory();

}  // namespace leash
