"""Watches every tensor operation: which elements of which source tensor are written where.

A meta tensor has no data, but it has a storage with an identity, and a view keeps the storage with its offset, sizes
and strides. So each write tells exactly which region of which parameter it fills from which region of which checkpoint
tensor. Operations that make new storages (`cat`, `to`, `contiguous`) pass the sources of their inputs on.

An operation on parts of one tensor that keeps the number of elements (a cast, a permuted copy, `cat`) makes an image of
them. What is left out of an image is left out of the tensor, so the regions of it that went on are kept too.
"""

import math
import zlib
from array import array

# Move columns: tensor, storage, destination region, source region, operation. Source -1: no checkpoint tensor.
WIDTH = 5
VIEWS = ("view", "_unsafe_view", "_reshape_alias")
IMAGE = " of an image"  # ends the name of an operation that wrote an image of the tensor


def regroups(old, new):
    """Whether neither shape comes of the other by merging neighbouring dimensions: then what was one row is none."""
    ends = []
    for shape in (old, new):
        left, at = 1, {1}
        for size in reversed(shape):
            left *= size
            at.add(left)
        ends.append(at)
    return not (ends[0] <= ends[1] or ends[1] <= ends[0])


def make_watch():
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    aten = torch.ops.aten
    copy = aten.copy_.default
    scalar = aten._local_scalar_dense.default
    to_copy = aten._to_copy.default
    meta = torch.device("meta")

    class Watch(TorchDispatchMode):
        @classmethod
        def _should_skip_dynamo(cls):
            return False  # nothing is compiled here, and the wrapper costs more than the method

        def __init__(self):
            super().__init__()
            self.sources = {}  # storage -> ((tensor, source region), ...)
            self.homes = {}  # storages of the model's own parameters and buffers, as built
            self.storages = {}  # storage written to -> index
            self.kept = []  # keeps storages alive: an address must not be used twice
            self.regions = {}  # (offset, sizes, strides) -> index
            self.region_list = []
            self.operations = {}
            self.moves = array("i")
            self.moved = set()  # tensors placed somewhere
            self.value_reads = set()  # tensors whose values the loader asked for (answered with a placeholder)
            self.images = {}  # storage of an image -> its index
            self.image_list = []  # (tensor, pool, regions of the image that went on)
            self.regrouped = {}  # tensor -> its shape and the one it was viewed in, where that tears its rows apart
            self.used_whole = set()  # tensors that went into an operation which makes no image
            self.born = {}  # storage -> the operation that made it, while building
            self.building = False
            self._kinds = {}

        def region(self, tensor):
            key = (tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
            index = self.regions.get(key)
            if index is None:
                index = self.regions[key] = len(self.region_list)
                self.region_list.append(key)
            return index

        def storage(self, tensor):
            held = tensor.untyped_storage()
            key = held._cdata
            index = self.storages.get(key)
            if index is None:
                index = self.storages[key] = len(self.storages)
                self.kept.append(held)
            return index

        def operation(self, name):
            return self.operations.setdefault(name, len(self.operations))

        def came_from(self, tensor):
            """Sources of a tensor: ((tensor, region or -1), ...); for a view of a checkpoint tensor, its own region."""
            known = self.sources.get(tensor.untyped_storage()._cdata)
            if known is None:
                return ()
            if type(known) is int:
                return ((known, self.region(tensor)),)
            return known

        def write(self, target, values, name):
            destination = self.region(target)
            storage = self.storage(target)
            origins = []
            for value in values:
                image = self.images.get(value.untyped_storage()._cdata)
                if image is not None:
                    self.image_list[image][2].add(self.region(value))
                operation = self.operation(name if image is None else name + IMAGE)
                for tensor, region in self.came_from(value):
                    origins.append((tensor, region))
                    self.moves.extend((tensor, storage, destination, region, operation))
                    self.moved.add(tensor)
            if not origins:
                self.moves.extend((-1, storage, destination, -1, self.operation(name)))
            elif target.untyped_storage()._cdata not in self.homes:
                # A buffer that a loader fills and copies on: it passes on everything that came in.
                self.pass_on(target, origins)

        def viewed(self, tensor, result):
            """Notes a checkpoint tensor that is viewed in a shape whose rows are not its own."""
            index = self.sources.get(tensor.untyped_storage()._cdata)
            if type(index) is int and index not in self.regrouped and regroups(tensor.shape, result.shape):
                self.regrouped[index] = [list(tensor.shape), list(result.shape)]

        def went_on(self, values):
            """Notes what was written somewhere or made into something that is no image."""
            for value in values:
                held = value.untyped_storage()._cdata
                image = self.images.get(held)
                if image is not None:
                    self.image_list[image][2].add(self.region(value))
                elif self.sources.get(held) is not None:
                    self.used_whole.update(tensor for tensor, _ in self.came_from(value))

        def made(self, values, result, name):
            """What an operation made of `values`: an image, if it holds every element of theirs once, in any order."""
            tensors = {tensor for value in values for tensor, _ in self.came_from(value)}
            elements = sum(value.numel() for value in values)
            if len(tensors) != 1 or not isinstance(result, torch.Tensor) or result.numel() != elements:
                self.went_on(values)
                return
            ways = []
            for value in values:
                held = value.untyped_storage()._cdata
                if held in self.images:
                    ways.append(self.image_list[self.images[held]][1])
                elif type(self.sources[held]) is not int:
                    self.went_on(values)
                    return
                ways.append((value.storage_offset(), tuple(value.shape), value.stride()))
            # The same way on another rank is the same pool; the region table's numbers are not the same there.
            pool = zlib.crc32(repr((ways, name, tuple(result.shape))).encode())
            self.images[result.untyped_storage()._cdata] = len(self.image_list)
            self.image_list.append((tensors.pop(), pool, set()))

        def images_partly_read(self, elements):
            """[tensor, pool, regions] of the tensors of which only images went on, and fewer elements than it has.

            `elements(tensor)` is the number a tensor has. A region that was used twice counts twice here.
            """
            went, found = {}, []
            for tensor, _, regions in self.image_list:
                sizes = (self.region_list[region][1] for region in regions)
                went[tensor] = went.get(tensor, 0) + sum(math.prod(size) for size in sizes)
            for tensor, pool, regions in self.image_list:
                if went[tensor] < elements(tensor) and tensor not in self.used_whole:
                    found.append([tensor, pool, sorted(regions)])
            return found

        def pass_on(self, tensor, origins):
            held = tensor.untyped_storage()
            before = self.sources.get(held._cdata, ())
            if type(before) is int:
                return
            if len(before) > 4096:
                return
            merged = dict.fromkeys(before)
            merged.update(dict.fromkeys(origins))
            self.sources[held._cdata] = tuple(merged)
            if not before:
                self.kept.append(held)

        def kind(self, func):
            found = self._kinds.get(func)
            if found is None:
                schema = func._schema
                written = [
                    i for i, a in enumerate(schema.arguments) if a.alias_info is not None and a.alias_info.is_write
                ]
                views = any(r.alias_info is not None for r in schema.returns)
                takes_tensor = any("Tensor" in str(a.type) for a in schema.arguments)
                makes = not takes_tensor and any(a.name == "device" for a in schema.arguments)
                name = schema.name.split("::")[-1]
                found = self._kinds[func] = (written, views and not written, makes, name)
            return found

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            if func is copy:
                if args[1].device.type == "meta" and args[0].device.type != "meta":
                    # A parameter that the model made on a real device: check the shapes as the copy would.
                    args[1].expand(args[0].shape)
                    result = args[0]
                else:
                    result = func(*args, **kwargs)
                if not self.building:
                    self.write(args[0], args[1:2], "copy_")
                return result
            device = kwargs.get("device")
            if device is not None and device.type not in ("meta", "cpu"):
                kwargs = dict(kwargs, device=meta, pin_memory=False)  # made on a device that does not exist here
            written, view, makes, name = self.kind(func)
            if view:
                result = func(*args, **kwargs)
                if name in VIEWS and not self.building:
                    self.viewed(args[0], result)
                return result
            if func is scalar and args[0].device.type == "meta":
                for tensor, _ in self.came_from(args[0]):
                    self.value_reads.add(tensor)
                return (1.0 if args[0].dtype.is_floating_point else 1) if args[0].dtype is not torch.bool else True
            if func is to_copy and kwargs.get("device") is not None and args[0].device.type == "meta":
                kwargs = dict(kwargs, device=args[0].device, pin_memory=False)
            elif makes and not self.building:
                # Loaders that make tensors get meta ones, as under torch.device("meta"), whose own mode is slower.
                kwargs = dict(kwargs, device=meta, pin_memory=False)
            result = func(*args, **kwargs)
            if self.building:
                if isinstance(result, torch.Tensor) and not written:
                    held = result.untyped_storage()
                    self.born[held._cdata] = name
                return result
            inputs = [a for a in args if isinstance(a, torch.Tensor)]
            for a in args:
                if isinstance(a, (list, tuple)):
                    inputs.extend(b for b in a if isinstance(b, torch.Tensor))
            if written:
                for position in written:
                    target = (
                        args[position] if position < len(args) else kwargs.get(func._schema.arguments[position].name)
                    )
                    if isinstance(target, torch.Tensor):
                        self.write(target, [a for a in inputs if a is not target], name)
                return result
            origins = [origin for value in inputs for origin in self.came_from(value)]
            if origins:
                self.made([value for value in inputs if self.came_from(value)], result, name)
                outputs = result if isinstance(result, (list, tuple)) else (result,)
                for output in outputs:
                    if isinstance(output, torch.Tensor) and output.untyped_storage()._cdata not in self.sources:
                        self.pass_on(output, origins)
            return result

    return Watch()
