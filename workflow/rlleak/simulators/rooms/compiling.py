"""From a scene to a MuJoCo model: one mesh per piece and material, textures handed over in memory.

MuJoCo is right-handed with z up, Unity left-handed with y up: swapping y and z takes one to the other, and mirrors
the winding of triangles.
"""

from __future__ import annotations

import mujoco
import numpy as np

from rlleak.simulators.rooms.builder import Glass, Light, Material, Scene
from rlleak.simulators.rooms.geometry import Mesh, join

NEAR, FAR = 0.04, 20.0


def compile_scene(scene: Scene, width: int, height: int) -> tuple[mujoco.MjModel, np.ndarray]:
    """Build the model.

    Returns:
        The model, and for each geom the index of its piece in `scene.pieces`.
    """
    spec = mujoco.MjSpec()
    spec.compiler.autolimits = False
    _set_visuals(spec, width, height)
    for light in scene.lights:
        _add_light(spec, light)
    known: dict[int, str] = {}
    owners: list[int] = []
    for index, piece in enumerate(scene.pieces):
        grouped: dict[int, tuple[Material, list[Mesh]]] = {}
        for material, mesh in piece.parts:
            grouped.setdefault(id(material), (material, []))[1].append(_scaled(mesh, material))
        for material, meshes in grouped.values():
            if id(material) not in known:
                known[id(material)] = _add_material(spec, material, len(known))
            _add_geom(spec, join(meshes), known[id(material)], len(owners))
            owners.append(index)
        for glass in piece.glasses:
            _add_glass(spec, glass)
            owners.append(index)
    return spec.compile(), np.array(owners, np.int32)


def _set_visuals(spec: mujoco.MjSpec, width: int, height: int) -> None:
    spec.visual.global_.offwidth, spec.visual.global_.offheight = width, height
    spec.visual.quality.offsamples = 4
    spec.visual.headlight.active = 0
    # Extent 1 makes the clipping planes plain metres.
    spec.stat.extent = 1.0
    spec.visual.map.znear, spec.visual.map.zfar = NEAR, FAR


def _swapped(vectors: np.ndarray) -> np.ndarray:
    return vectors[:, [0, 2, 1]]


def _scaled(mesh: Mesh, material: Material) -> Mesh:
    """Texture coordinates in repeats of the material's texture."""
    if material.texture is None:
        return mesh
    if material.metres is None:
        low, high = mesh.uv.min(0), mesh.uv.max(0)
        uv = (mesh.uv - low) / np.maximum(high - low, 1e-9)
    else:
        uv = mesh.uv / np.asarray(material.metres)
    # MuJoCo counts v downwards from the texture's first row.
    return Mesh(mesh.vertices, mesh.normals, np.stack([uv[:, 0], 1 - uv[:, 1]], 1), mesh.faces)


def _add_material(spec: mujoco.MjSpec, material: Material, number: int) -> str:
    name = f"material{number}"
    made = spec.add_material(name=name)
    made.rgba = (*material.colour, material.alpha)
    made.specular, made.shininess, made.emission = material.specular, material.shininess, material.emission
    if material.texture is not None:
        rows, columns, channels = material.texture.shape
        texture = spec.add_texture(
            name=f"texture{number}", type=mujoco.mjtTexture.mjTEXTURE_2D, width=columns, height=rows, nchannel=channels
        )
        texture.data = np.ascontiguousarray(material.texture).tobytes()
        roles = list(made.textures)
        roles[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture.name
        made.textures = roles
    return name


def _add_geom(spec: mujoco.MjSpec, mesh: Mesh, material: str, number: int) -> None:
    made = spec.add_mesh(name=f"mesh{number}")
    made.uservert = _swapped(mesh.vertices).ravel()
    made.usernormal = _swapped(mesh.normals).ravel()
    made.usertexcoord = mesh.uv.ravel()
    made.userface = mesh.faces[:, ::-1].ravel()
    made.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH, meshname=made.name, material=material, contype=0, conaffinity=0, mass=0
    )


def _add_glass(spec: mujoco.MjSpec, glass: Glass) -> None:
    """Add a mirror: MuJoCo reflects in the +z face of a box."""
    name = f"mirror{len(spec.materials)}"
    spec.add_material(name=name, rgba=(0.20, 0.21, 0.22, 1.0), reflectance=0.75, specular=0.2)
    sine, cosine = np.sin(np.radians(glass.facing)), np.cos(np.radians(glass.facing))
    x, y, z = glass.centre
    made = spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, material=name, contype=0, conaffinity=0, mass=0)
    made.size = (glass.width / 2, glass.height / 2, 0.002)
    made.pos = (x, z, y)
    # Columns: level along the wall, up, and the glass's normal (sin, cos, 0).
    axes = np.array([[-cosine, 0.0, sine], [sine, 0.0, cosine], [0.0, 1.0, 0.0]])
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, axes.ravel())
    made.quat = quaternion


def _add_light(spec: mujoco.MjSpec, light: Light) -> None:
    made = spec.worldbody.add_light()
    made.castshadow = False
    made.diffuse = light.colour
    made.specular = tuple(0.5 * channel for channel in light.colour)
    made.ambient = tuple(light.ambient * channel for channel in light.colour)
    made.attenuation = light.attenuation
    if light.direction is not None:
        made.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
        x, y, z = light.direction
        made.dir = (x, z, y)
    elif light.position is not None:
        # The classic renderer lights with spots only; one that opens to all sides is a point light.
        made.type = mujoco.mjtLightType.mjLIGHT_SPOT
        made.cutoff, made.exponent = 180.0, 0.0
        x, y, z = light.position
        made.pos = (x, z, y)
