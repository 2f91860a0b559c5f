#include "api/generation/text_pool.h"

#include <atomic>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

namespace mlxd::api {

class TextPool::Impl {
 public:
  Impl(int threads, int max_queued)
      : max_queued_(max_queued), pool_(static_cast<std::size_t>(threads)) {}
  ~Impl() {
    pool_.stop();
    pool_.join();
  }

  bool try_post(std::function<void()> job) {
    if (queued_.fetch_add(1) >= max_queued_) {
      queued_.fetch_sub(1);
      return false;
    }
    boost::asio::post(pool_, [this, job = std::move(job)] {
      queued_.fetch_sub(1);
      job();
    });
    return true;
  }

 private:
  const int max_queued_;
  std::atomic<int> queued_{0};
  boost::asio::thread_pool pool_;
};

TextPool::TextPool(int threads, int max_queued)
    : impl_(std::make_unique<Impl>(threads, max_queued)) {}
TextPool::~TextPool() = default;

bool TextPool::try_post(std::function<void()> job) { return impl_->try_post(std::move(job)); }

}  // namespace mlxd::api
