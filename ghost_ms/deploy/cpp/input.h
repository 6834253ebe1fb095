// What goes into a network, and how long a call takes.
#pragma once

#include <vector>

#include "network.h"
#include "sidecar.h"

namespace ghost_ms {

/// Copies an image that has the input's size into the network, normalised as the sidecar says, once for each image of a
/// call; std::runtime_error where the network takes something else.
void set_image(Network& network, const Sidecar& sidecar, const Image& image);

/// Milliseconds of each of some calls on what the network was given last, ascending; reading and resizing the image are
/// no part of a call.
std::vector<double> time_calls(Network& network, int calls);

}  // namespace ghost_ms
