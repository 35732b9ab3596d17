"""What `liuhen policy` prints."""

from __future__ import annotations

import json

import msgspec
import pytest

from domain.clock import Instant
from policies import load, names
from policies.deadlines import store_by
from policies.labels import BOUNDS, FIELDS, LEVELS, MAY, UNITS
from policies.model import Policy
from policies.report import deadline_fields, deadline_json, deadline_text, show_json, show_text
from policies.values import leaves

DONE = Instant.parse("2026-09-30T15:00:00+08:00")
NOW = Instant.parse("2026-10-04T15:00:00+08:00")


@pytest.mark.parametrize("name", names())
def test_everything_is_shown(name: str) -> None:
    text = show_text(load(name))
    assert "None" not in text
    for path, leaf in leaves(load(name)):
        assert all(article in text for article in leaf.source), path
        assert leaf.ours is False or "本系统定" in text, path
        assert leaf.note in text, path
    for act in load(name).acts:
        assert act.zh in text
    shown = json.loads(show_json(load(name)))
    assert msgspec.convert(shown, Policy) == load(name)


def test_lines_of_it() -> None:
    lines = show_text(load("wucheng")).splitlines()
    assert lines[0] == "金华市婺城区卫生健康局（wucheng）"
    assert any(line.startswith("期限：2个工作日　［W-AV 第二十三条］") for line in lines)
    assert "  存储空间不足（storage_full）　［W-AV 第十八条］" in lines
    assert any(line.startswith("一般：不作为证据使用：至少，6个月") for line in lines)
    assert any("［本系统定：" in line and line.startswith("最久间隔：7天") for line in lines)


def test_every_word_of_the_files_has_a_chinese_name() -> None:
    schema = msgspec.json.schema(Policy)["$defs"]
    text = json.dumps(schema)
    for table in (UNITS, LEVELS, BOUNDS, MAY):
        assert all(json.dumps(word) in text for word in table)
    sections = [one for one in schema.values() if "source" not in one["properties"]]
    fields = {field for one in sections for field in one["properties"]} - {"name"}
    assert fields == set(FIELDS)


def test_the_fields_of_a_deadline() -> None:
    found = store_by(load("gansu"), "body_worn", DONE)
    assert deadline_fields(found, NOW) == {
        "policy": "gansu",
        "completed": "2026-09-30T15:00:00.000+08:00",
        "remote": False,
        "returned": None,
        "store_by": "2026-10-03T00:00:00.000+08:00",
        "warn_at": "2026-10-02T09:45:00.000+08:00",
        "seconds_left": -140400.0,
        "clauses": ["第二十二条"],
        "note": None,
    }
    assert json.loads(deadline_json(found, NOW)) == deadline_fields(found, NOW)


def test_the_fields_where_there_is_no_figure() -> None:
    fields = deadline_fields(store_by(load("zhanhe"), "body_worn", DONE, remote=True), NOW)
    assert (fields["store_by"], fields["seconds_left"], fields["returned"]) == (None, None, None)
    assert fields["clauses"] == ["Z-AV 第十三条"]
    assert fields["note"] == "返回单位的时间未知；返回后开始计算"
    back = Instant.parse("2026-10-04T08:00:00+08:00")
    fields = deadline_fields(store_by(load("zhanhe"), "body_worn", DONE, remote=True, returned=back), NOW)
    assert (fields["store_by"], fields["seconds_left"]) == ("2026-10-05T08:00:00.000+08:00", 17 * 3600.0)


def test_a_deadline_for_people() -> None:
    text = deadline_text(store_by(load("gansu"), "body_worn", DONE), NOW)
    assert text.splitlines() == [
        "制作完成：2026年9月30日15:00",
        "储存期限：2026年10月2日24时（已过39小时0分，只因其间有节假日）",
        "提醒时间：2026年10月2日09:45［本系统定］",
        "依据：第二十二条",
    ]
    text = deadline_text(store_by(load("wucheng"), "body_worn", DONE), NOW)
    assert "储存期限：2026年10月9日24时（还有129小时0分）" in text
    text = deadline_text(store_by(load("zhuhui"), "body_worn", DONE), NOW)
    assert "储存期限：无" in text
    assert "说明：本规定只说及时移交" in text
    text = deadline_text(store_by(load("zhanhe"), "body_worn", DONE, remote=True), NOW)
    assert "返回单位：未知" in text
