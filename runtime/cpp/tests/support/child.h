// A child of a fork.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

namespace attn {

// Whether `work` answers true in a child of a fork, which then ends: at once, or as a program does, with all of its libraries' last words. What
// hangs there is ended by a signal.
template <typename Work>
bool in_a_child(Work work, bool at_once = true) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    const int status = work() ? 0 : 1;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // what is left to the parent would be told as leaks
    if (!at_once) std::exit(status);
#endif
    _exit(status);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace attn
