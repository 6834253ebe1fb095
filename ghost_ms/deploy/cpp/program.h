// What both programs do around their work.
#pragma once

#include "options.h"

namespace ghost_ms {

/// Reads the command line and does the work; the exit code. Bad input ends in one sentence and exit code 1.
int run_program(const Command& command, int argc, char** argv, void (*work)(const Options&));

}  // namespace ghost_ms
