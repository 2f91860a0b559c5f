#pragma once

#include <string>
#include <string_view>

namespace mlxd {

// The service manager that started this process, if one did: systemd's notification protocol
// (sd_notify(3)), a datagram to the socket that $NOTIFY_SOCKET names. Without one, nothing happens.
// One thread.
class ServiceManager {
 public:
  ServiceManager();
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  void ready() { send("READY=1"); }
  // To be said while all is well, more often than the unit's WatchdogSec: when it stops coming, the
  // manager restarts the process.
  void alive() { send("WATCHDOG=1"); }
  void stopping() { send("STOPPING=1"); }

 private:
  void send(std::string_view state) const;

  int socket_ = -1;
  std::string address_;
};

}  // namespace mlxd
