// One clone of a function per instruction set, chosen when the program starts. Sanitizers cannot
// run the resolvers of clones, so they get the baseline alone.
#pragma once

#if defined(LEASH_SANITIZED) || !defined(__x86_64__)
#define LEASH_CLONES
#else
#define LEASH_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
// A clone only gains from what is inlined into it.
#define LEASH_INLINE inline __attribute__((always_inline))
