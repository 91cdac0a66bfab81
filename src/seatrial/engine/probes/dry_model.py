"""The built model as plain data: parameters and buffers with their storages, owners and birth; attention layers."""


def tensors_of(model):
    """(name, tensor, is parameter, owner module, leaf name) of every parameter and buffer.

    A module that is reachable by two paths counts once; a tensor held by two modules (tied) counts for both.
    """
    for prefix, module in model.named_modules():
        for kind, table in ((True, module._parameters), (False, module._buffers)):
            for leaf, tensor in table.items():
                if tensor is not None:
                    yield (prefix + "." if prefix else "") + leaf, tensor, kind, module, leaf


def key_of(tensor):
    try:
        return tensor.untyped_storage()._cdata
    except Exception:
        return None


def storages(model):
    """storage -> name of the first parameter or buffer on it, as the model is before loading."""
    found = {}
    for name, tensor, _, _, _ in tensors_of(model):
        key = key_of(tensor)
        if key is not None:
            found.setdefault(key, name)
    return found


def class_name(thing):
    return type(thing).__module__ + "." + type(thing).__qualname__


def design_of(module, method, tensor, leaf, optional=()):
    """The engine's own rules (its `track_weights_loading`) for parameters a checkpoint need not carry; "" for none.

    `optional`: a plugin's, as its stubs list them: parameter, class of the method that made it, why.
    """
    from vllm.model_executor.model_loader import default_loader

    inner = getattr(method, "quant_method", None)  # a plugin's adapter around its own scheme
    for entry in optional:
        makers = (type(method).__name__, type(inner).__name__)
        owner = entry.get("owner")
        if entry["parameter"] == leaf and (entry.get("method") in makers or owner == type(module).__name__):
            return entry["why"]

    try:
        if tensor.numel() == 0:
            return "holds no elements"
    except Exception:
        return ""
    built = getattr(default_loader, "_CONFIG_BUILT_PARAMS", ())
    if leaf in built:
        return "built from the quantization config (_CONFIG_BUILT_PARAMS of vllm's default_loader)"
    if method is not None:
        from vllm.model_executor.layers.quantization.kv_cache import BaseKVCacheMethod

        if isinstance(method, BaseKVCacheMethod):
            return (
                "KV-cache scale with a default (BaseKVCacheMethod of vllm.model_executor.layers.quantization.kv_cache)"
            )
    return ""


def parameters(model, watch, before, optional=()):
    """Columns of parameters; `storage` is the watch's storage index (-1: never written), also before a swap."""
    rows = []
    classes = {}
    swapped = {}
    for key, name in before.items():
        swapped.setdefault(name, set()).add(watch.storages.get(key, -1))
    for name, tensor, is_parameter, module, leaf in tensors_of(model):
        key = key_of(tensor)
        storage = watch.storages.get(key, -1)
        places = sorted({storage, *swapped.get(name, ())} - {-1})
        method = getattr(module, "quant_method", None)
        owner = classes.setdefault(class_name(module), len(classes))
        quant = classes.setdefault(class_name(method), len(classes)) if method is not None else -1
        try:
            shape, strides, offset = list(tensor.shape), list(tensor.stride()), tensor.storage_offset()
        except Exception:
            shape, strides, offset = [], [], 0
        rows.append(
            {
                "name": name,
                "shape": shape,
                "strides": strides,
                "offset": offset,
                "dtype": str(tensor.dtype).replace("torch.", ""),
                "parameter": is_parameter,
                "persistent": is_parameter or leaf not in module._non_persistent_buffers_set,
                "storage_id": key or 0,
                "storages": places,
                "born": watch.born.get(key, "") if key else "",
                "device": str(tensor.device),
                "owner": owner,
                "quant": quant,
                "design": design_of(module, method, tensor, leaf, optional) if is_parameter else "",
            }
        )
    # Storage addresses mean nothing outside: number them.
    numbers = {}
    for row in rows:
        row["storage_id"] = numbers.setdefault(row["storage_id"], len(numbers))
    return {"parameters": rows, "classes": list(classes)}


def attention(config):
    """Layers with a KV cache: class, backend, and the engine's own cache spec; a layer that cannot say says why."""
    rows = []
    for name, layer in config.compilation_config.static_forward_context.items():
        if not hasattr(layer, "get_kv_cache_spec"):
            continue
        row = {"name": name, "layer": class_name(layer), "backend": "", "spec": "", "error": ""}
        try:
            backend = layer.get_attn_backend()
            row["backend"] = backend.get_name() if hasattr(backend, "get_name") else backend.__name__
            spec = layer.get_kv_cache_spec(config)
            if spec is not None:
                row["spec"] = type(spec).__name__
                row["block_size"] = int(getattr(spec, "block_size", 0) or 0)
                row["page_bytes"] = int(spec.page_size_bytes)
        except Exception as exc:
            row["error"] = type(exc).__name__ + ": " + " ".join(str(exc).split())[:200]
        rows.append(row)
    return rows


def operations(model):
    """The engine's custom operators that the model holds: class name -> number of modules."""
    from vllm.model_executor.custom_op import CustomOp

    found = {}
    for module in model.modules():
        if isinstance(module, CustomOp):
            name = class_name(module)
            found[name] = found.get(name, 0) + 1
    return found
