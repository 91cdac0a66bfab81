"""Which module of the reference belongs to which of the engine: those that the same checkpoint tensors went into.

The engine's side is the dry run's account (which tensor lies in which rows of which parameter, rank by rank), the
reference's side is what Transformers itself does with a tensor's name while loading (renamings, merged experts). Names
of modules are not looked at, but to tell nested modules around the same tensors apart.
"""

import re

ENOUGH = 0.9  # of the elements under two modules together; so much must be under both


def owners(model, tensors):
    """Tensor name to the module of the reference that owns it; tensors that it does not know are left out."""
    renamed = _renaming(model)
    modules = {name for name, _ in model.named_modules()}
    known = set(model.state_dict())
    prefix = getattr(model, "base_model_prefix", "") or ""
    found = {}
    for tensor in tensors:
        for name in (renamed(tensor, known), tensor, prefix + "." + tensor, tensor.removeprefix(prefix + ".")):
            module = name.rpartition(".")[0]
            if name in known or (module and module in modules):
                found[tensor] = module
                break
    return found


def _renaming(model):
    """What Transformers makes of a checkpoint's name: by its conversions (5.x), by the class's patterns (4.5x)."""
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key
    except ImportError:
        patterns = getattr(model, "_checkpoint_conversion_mapping", None) or {}

        def by_pattern(name, known):
            for old, new in patterns.items():
                name = re.sub(old, new, name)
            return name

        return by_pattern
    conversions = get_model_conversion_mapping(model, hf_quantizer=getattr(model, "hf_quantizer", None))
    renamings = [c for c in conversions if isinstance(c, WeightRenaming)]
    converters = [c for c in conversions if isinstance(c, WeightConverter)]

    def by_conversion(name, known):
        table = dict.fromkeys(known, True)
        name, _ = rename_source_key(name, renamings, converters, model.base_model_prefix, table)
        return name

    return by_conversion


class Pairs:
    """`of[module]`: the reference's modules for an engine's one, `{"module", "by", "spans"}`; spans are
    `[rank, at, of, rows]`: so many output features of the engine's from `at` on are the reference's from `of` on.
    """

    def __init__(self, account, owned, here, there):
        """`account`: `into` and `sizes`; `owned`: of `owners`; `here`, `there`: the modules seen on the two sides."""
        self.account = account
        into = {t: places for t, places in account.get("into", {}).items() if t in owned}
        self.sizes = account.get("sizes", {})
        self.mine, self.theirs, self.own = {}, {}, {}
        for tensor, places in into.items():
            for module in {p[1].rpartition(".")[0] for p in places}:
                self.own.setdefault(module, set()).add(tensor)
                for above in upwards(module):
                    self.mine.setdefault(above, set()).add(tensor)
            for above in upwards(owned[tensor]):
                self.theirs.setdefault(above, set()).add(tensor)
        self.into, self.owned = into, owned
        here, self.there = dict.fromkeys(here), set(there)
        self.chains = chains(self.theirs, there), chains(self.mine, here)
        self.of = {}
        for module in here:
            found = self._parts(module) or self._same(module)
            if found:
                self.of[module] = found
        taken = {p["module"] for found in self.of.values() for p in found}
        for module in here:
            found = [] if module in self.of else self._most(module, taken)
            if found:
                self.of[module] = found

    def contradicts(self, module, other):
        """Do the two hold tensors, and none of them in common? Then the same name means something else."""
        mine, theirs = self.mine.get(module), self.theirs.get(other)
        return bool(mine and theirs and mine.isdisjoint(theirs))

    def _parts(self, module):
        """A layer of its own weights in rows: every module of the reference whose tensor fills some of them."""
        tensors = self.own.get(module, set())
        if tensors != self.mine.get(module):
            return []
        best = {}
        for tensor in sorted(tensors, key=lambda t: -self.sizes.get(t, 0)):
            places = [p for p in self.into[tensor] if p[4] and p[1].rpartition(".")[0] == module]
            spans = [[rank, at, max(0, of), rows] for rank, _, at, of, rows, _ in places]
            other = self.owned[tensor]
            if spans and other in self.there and self.theirs[other] <= tensors:
                best.setdefault(other, {"module": other, "by": "tensors", "spans": spans})
        if not best:
            return []
        covered = set().union(*(self.theirs[other] for other in best))
        return sorted(best.values(), key=lambda p: p["spans"][0][1]) if covered == tensors else []

    def _same(self, module):
        """The module around exactly the same tensors; of several nested ones that of the same name, else by depth."""
        tensors = frozenset(self.mine.get(module, ()))
        theirs, mine = self.chains[0].get(tensors, []), self.chains[1].get(tensors, [])
        if not tensors or not theirs:
            return []
        named = {tail(one) for one in mine} & {tail(one) for one in theirs}
        if tail(module) in named:
            return [_whole(next(one for one in theirs if tail(one) == tail(module)), "tensors")]
        theirs = [one for one in theirs if tail(one) not in named]
        place = [one for one in mine if tail(one) not in named].index(module)
        return [_whole(theirs[place], "tensors")] if place < len(theirs) else []

    def _most(self, module, taken):
        """The module around nearly the same tensors, by elements; none that another one fits exactly."""
        tensors = self.mine.get(module)
        if not tensors:
            return []
        shared = {}
        for tensor in tensors:
            for above in upwards(self.owned[tensor]):
                if above in self.there and above not in taken:
                    shared[above] = shared.get(above, 0) + self.sizes.get(tensor, 0)
        whole = sum(self.sizes.get(t, 0) for t in tensors)

        def likeness(other):
            size = sum(self.sizes.get(t, 0) for t in self.theirs[other])
            return shared[other] / (whole + size - shared[other] or 1)

        order = sorted(shared, key=lambda o: (-likeness(o), tail(o) != tail(module), len(o)))
        return [_whole(order[0], "most tensors")] if order and likeness(order[0]) >= ENOUGH else []


def _whole(module, by):
    return {"module": module, "by": by, "spans": []}


def upwards(module):
    """The module and all around it, but for the model itself."""
    while module:
        yield module
        module = module.rpartition(".")[0]


def tail(module):
    return module.rpartition(".")[2]


def chains(held, seen):
    """Tensors to the modules, seen and around exactly them, the outermost first."""
    found = {}
    for module in sorted(set(seen), key=lambda m: m.count(".")):
        if module in held:
            found.setdefault(frozenset(held[module]), []).append(module)
    return found
