"""One file a way out. `_http` turns an HTTP answer into a receipt, once for all."""
