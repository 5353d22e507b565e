"""From a found cell to the network for ImageNet: the same cell on the skeleton for large images."""

import nas

result = nas.search("nasnet", lambda job: -job.macs, "random", trials=5, space_args={"nodes": 3}, width=8, depth=1)
graph = nas.create_graph(result.best.architecture, num_classes=1000, input_shape=(3, 224, 224))
print(graph.cost())
print(sum(p.numel() for p in nas.create_model("mobilenet_v2", num_classes=10).parameters()))
print(nas.list_models("efficientnet*"))
