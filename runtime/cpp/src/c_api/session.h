// The handle of a session.
#pragma once

#include <attn/runtime.h>

#include <memory>

#include "c_api/specs.h"
#include "session/session.h"

struct attn_session {
  std::shared_ptr<attn::Session> session;
  attn::CSpecs inputs, outputs;
};
